"""What a recorder keeps, when it records, and the file that it writes."""

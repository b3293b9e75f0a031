"""What units answer to stimuli: the pictures, the answers, the preferences."""

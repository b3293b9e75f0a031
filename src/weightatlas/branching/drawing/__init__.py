"""How a branching survey is drawn, figure by figure."""

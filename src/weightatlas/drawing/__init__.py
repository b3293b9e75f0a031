"""What the charts of several rooms share: axes, scales and labels."""

"""The sums behind every figure of weight change: compiled loops on a CPU, few launches on a GPU."""

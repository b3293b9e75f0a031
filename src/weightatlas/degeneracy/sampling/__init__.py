"""Chains that sample the weights around a trained network, their steps, and whether they can be trusted."""

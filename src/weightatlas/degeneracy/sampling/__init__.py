"""Chains that sample the weights around a trained network, the step that suits them, and whether they can be trusted."""

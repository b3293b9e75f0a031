"""Clusterability of a network of ResNet-50's size: shuffled networks a minute, and the eigenvectors beside scipy's.

`python benchmarks/clusterability.py [--quick]`: torchvision's ResNet-50 with random weights, its residual streams
merged, 12 clusters, 50 shuffled networks (4 with --quick, the time scaled up). The eigenvectors of its graph by dense
blocks stand beside `scipy.sparse.linalg.eigsh` on the same graph as one sparse matrix, on one thread each. Exits 1 if a
claim of the documentation fails.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from functools import partial

import joblib
import numpy as np
import torch
from measure import Claims, interleaved, machine
from scipy import sparse
from scipy.sparse.linalg import eigsh
from threadpoolctl import threadpool_limits

from weightatlas.anatomy.flow import channel_flow
from weightatlas.branching.clusterability import CLUSTERS, clusterability
from weightatlas.branching.cuts.adjacency import Adjacency
from weightatlas.branching.cuts.ncut import TOLERANCE, first_vectors
from weightatlas.branching.cuts.network_graph import NetworkGraph, network_graph
from weightatlas.checkpoints import zoo_model

Array = np.ndarray

SHUFFLES = 50
SECONDS = 300
CORES = 2
FASTER = 2


def resnet50() -> NetworkGraph:
    """The graph of torchvision's ResNet-50 with random weights."""
    model = zoo_model("torchvision:resnet50?pretrained=false")
    return network_graph(model.state_dict(), channel_flow(model, torch.zeros(1, 3, 224, 224)))


def normalised_matrix(graph: NetworkGraph) -> sparse.csr_matrix:
    """The graph's normalised matrix as scipy has it, single precision."""
    rows, columns, values = [], [], []
    for layer in graph.layers:
        for weights, tos, sources in zip(
            layer.weights,
            layer.outputs.reshape(len(layer.weights), -1),
            layer.inputs.reshape(len(layer.weights), -1),
            strict=True,
        ):
            rows.append(np.repeat(tos, len(sources)))
            columns.append(np.tile(sources, len(tos)))
            values.append(weights.reshape(-1))
    ends = (np.concatenate(rows), np.concatenate(columns))
    half = sparse.csr_matrix((np.concatenate(values), ends), shape=(graph.nodes, graph.nodes))
    whole = half + half.T
    scale = sparse.diags(np.asarray(whole.sum(axis=1)).reshape(-1) ** -0.5)
    return sparse.csr_matrix(scale @ whole @ scale, dtype=np.float32)


def by_scipy(matrix: sparse.csr_matrix) -> Array:
    """The first eigenvectors of a sparse matrix."""
    start = np.random.default_rng(0).standard_normal(matrix.shape[0])
    vectors: Array = eigsh(matrix, k=CLUSTERS, which="LA", v0=start, tol=TOLERANCE)[1]
    return vectors


def captured(matrix: sparse.csr_matrix, vectors: Array) -> float:
    """Sum of the eigenvalues that orthonormal vectors reach: larger is nearer to the first ones."""
    return float(np.sum(vectors * (matrix @ vectors.astype(np.float32)).astype(np.float64)))


def main() -> None:
    """Measure, compare, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="4 shuffled networks")
    shuffles = 4 if parser.parse_args().quick else SHUFFLES
    print(machine())
    claims = Claims()
    start = time.perf_counter()
    graph = resnet50()
    print(f"\n{graph.nodes:,} units, {graph.edges:,} kernels; graph made in {time.perf_counter() - start:.1f} s")
    start, worked = time.perf_counter(), time.process_time()
    found = clusterability(graph, shuffles=shuffles, jobs=CORES)
    seconds = (time.perf_counter() - start) * (1 + SHUFFLES) / (1 + shuffles)
    each = (time.process_time() - worked) / (1 + shuffles)
    print(f"  n-cut {found.ncut:.4f}, shuffled {found.null_mean:.4f}, s.d. {found.null_std:.1e}, p {found.p_value:.2f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform != "darwin" else 1 << 30)
    print(
        f"  largest size of the process {peak:.2f} GiB; {each:.1f} s of a processor a network, of {joblib.cpu_count()}"
    )
    claims.check(
        f"{SHUFFLES} shuffled networks in {seconds:.0f} s on {CORES} cores, at most {SECONDS}", seconds <= SECONDS
    )

    adjacency, matrix = Adjacency(graph), normalised_matrix(graph)
    ours = partial(first_vectors, adjacency, CLUSTERS, seed=0)
    with threadpool_limits(1):
        times = interleaved({"weightatlas": ours, "scipy": partial(by_scipy, matrix)}, repeats=3)
    ratio = times["scipy"] / times["weightatlas"]
    print(f"\nFirst {CLUSTERS} eigenvectors: scipy {times['scipy']:.2f} s, weightatlas {times['weightatlas']:.2f} s")
    claims.check(f"{ratio:.1f} times as fast as eigsh on the sparse matrix, at least {FASTER}", ratio >= FASTER)
    difference = captured(matrix, ours()) / captured(matrix, by_scipy(matrix)) - 1
    claims.check(f"its eigenvalues add up to {difference:+.1e} of scipy's, within 1e-4", abs(difference) <= 1e-4)
    claims.settle()


if __name__ == "__main__":
    main()

"""The loops of batched NMF, compiled: cyclic coordinate descent on one unit's matrix at a time.

The layout is that of `workspace`. Loops stand where NumPy has a word, because numba takes longer to compile the word;
slices stand where an index would do, because numba checks an index for its sign and then finds no SIMD. For the same
reason a range says that its length is a multiple of `VECTOR`: the compiler then leaves out the remainder.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from weightatlas.banding.workspace import ONE, RANKS, ROWS, TILE, VECTOR, ZERO, Workspace, compiled, compiled_as_written

Floats = npt.NDArray[np.float32]


@compiled
def five(values: Floats, place: int) -> tuple[float, float, float, float, float]:  # pragma: no cover
    """Five numbers from a place on."""
    return values[place], values[place + 1], values[place + 2], values[place + 3], values[place + 4]


@compiled
def fused(left: float, right: float, total: float) -> float:  # pragma: no cover
    """Multiply and add in one instruction."""
    return left * right + total


@compiled_as_written
def combine(weights: Floats, coefficients: Floats, width: int, out: Floats) -> None:  # pragma: no cover
    """Set out, (2 * RANKS * TILE), to coefficients, (RANKS * rows), times a tile's relu(w) and w, a factor's in turn.

    Two weights of five are multiplied once, the product added to both sums, the other three multiplied into each: the
    processor has as many units for adding as for multiplying, and this keeps both busy.
    """
    for k in range(2 * RANKS):
        for j in range(width):
            out[k * TILE + j] = ZERO
    n = len(coefficients) // RANKS
    for row in range(0, len(weights) // TILE, ROWS):
        w = weights[row * TILE : (row + ROWS) * TILE]
        a0, a1, a2, a3, a4 = five(coefficients, row)
        b0, b1, b2, b3, b4 = five(coefficients, n + row)
        c0, c1, c2, c3, c4 = five(coefficients, 2 * n + row)
        for j in range(width // VECTOR * VECTOR):
            w0, w1, w2, w3, w4 = w[j], w[TILE + j], w[2 * TILE + j], w[3 * TILE + j], w[4 * TILE + j]
            p2, p3, p4 = max(w2, ZERO), max(w3, ZERO), max(w4, ZERO)
            first, second = a0 * w0, a1 * w1
            part = out[j]
            part = part + first if w0 > ZERO else part
            part = part + second if w1 > ZERO else part
            out[j] = fused(a4, p4, fused(a3, p3, fused(a2, p2, part)))
            out[TILE + j] = fused(a4, w4, fused(a3, w3, fused(a2, w2, out[TILE + j] + first + second)))
            first, second = b0 * w0, b1 * w1
            part = out[2 * TILE + j]
            part = part + first if w0 > ZERO else part
            part = part + second if w1 > ZERO else part
            out[2 * TILE + j] = fused(b4, p4, fused(b3, p3, fused(b2, p2, part)))
            out[3 * TILE + j] = fused(b4, w4, fused(b3, w3, fused(b2, w2, out[3 * TILE + j] + first + second)))
            first, second = c0 * w0, c1 * w1
            part = out[4 * TILE + j]
            part = part + first if w0 > ZERO else part
            part = part + second if w1 > ZERO else part
            out[4 * TILE + j] = fused(c4, p4, fused(c3, p3, fused(c2, p2, part)))
            out[5 * TILE + j] = fused(c4, w4, fused(c3, w3, fused(c2, w2, out[5 * TILE + j] + first + second)))


@compiled
def project(
    weights: Floats, coefficients: Floats, signed: bool, scratch: Floats, out: Floats
) -> None:  # pragma: no cover
    """Set out, (RANKS * 2 width), to coefficients times both halves of a tile's X; relu(-w) = relu(w) - w."""
    width = len(out) // (2 * RANKS)
    combine(weights, coefficients, width, scratch)
    for k in range(RANKS):
        positive, negative = out[2 * k * width : (2 * k + 1) * width], out[(2 * k + 1) * width : (2 * k + 2) * width]
        part, whole = scratch[2 * k * TILE : (2 * k + 1) * TILE], scratch[(2 * k + 1) * TILE : (2 * k + 2) * TILE]
        for j in range(width):
            positive[j] = part[j]
            negative[j] = part[j] - whole[j] if signed else ZERO


@compiled
def accumulate(weights: Floats, factors: Floats, products: Floats) -> None:  # pragma: no cover
    """Add to products, (RANKS * rows), factors, (RANKS * 2 width), times the transpose of a tile's X.

    A weight is positive or negative, so it meets one of a factor's halves: one product in place of two.
    """
    width, n = len(factors) // (2 * RANKS), len(products) // RANKS
    first, first_negative = factors[:width], factors[width : 2 * width]
    second, second_negative = factors[2 * width : 3 * width], factors[3 * width : 4 * width]
    third, third_negative = factors[4 * width : 5 * width], factors[5 * width :]
    for row in range(len(weights) // TILE - ROWS, -1, -ROWS):  # `project` has just read the last
        w = weights[row * TILE : (row + ROWS) * TILE]
        a0 = a1 = a2 = a3 = a4 = b0 = b1 = b2 = b3 = b4 = c0 = c1 = c2 = c3 = c4 = ZERO
        for j in range(width // VECTOR * VECTOR):
            w0, w1, w2, w3, w4 = w[j], w[TILE + j], w[2 * TILE + j], w[3 * TILE + j], w[4 * TILE + j]
            p, m = first[j], -first_negative[j]
            a0 += w0 * (p if w0 > ZERO else m)
            a1 += w1 * (p if w1 > ZERO else m)
            a2 += w2 * (p if w2 > ZERO else m)
            a3 += w3 * (p if w3 > ZERO else m)
            a4 += w4 * (p if w4 > ZERO else m)
            p, m = second[j], -second_negative[j]
            b0 += w0 * (p if w0 > ZERO else m)
            b1 += w1 * (p if w1 > ZERO else m)
            b2 += w2 * (p if w2 > ZERO else m)
            b3 += w3 * (p if w3 > ZERO else m)
            b4 += w4 * (p if w4 > ZERO else m)
            p, m = third[j], -third_negative[j]
            c0 += w0 * (p if w0 > ZERO else m)
            c1 += w1 * (p if w1 > ZERO else m)
            c2 += w2 * (p if w2 > ZERO else m)
            c3 += w3 * (p if w3 > ZERO else m)
            c4 += w4 * (p if w4 > ZERO else m)
        add_five(products, row, (a0, a1, a2, a3, a4))
        add_five(products, n + row, (b0, b1, b2, b3, b4))
        add_five(products, 2 * n + row, (c0, c1, c2, c3, c4))


@compiled
def add_five(out: Floats, place: int, sums: tuple[np.float32, ...]) -> None:  # pragma: no cover
    """Add to five numbers from a place on."""
    out[place] += sums[0]
    out[place + 1] += sums[1]
    out[place + 2] += sums[2]
    out[place + 3] += sums[3]
    out[place + 4] += sums[4]


@compiled
def couple(factors: Floats, gram: Floats, out: Floats) -> None:  # pragma: no cover
    """Take from out, RANKS rows end to end, gram, (RANKS * RANKS), times factors, laid out alike."""
    n = len(factors) // RANKS
    for r in range(RANKS):
        for s in range(RANKS):
            for j in range(n):
                out[r * n + j] -= gram[r * RANKS + s] * factors[s * n + j]


@compiled
def inner(left: Floats, right: Floats, out: Floats) -> None:  # pragma: no cover
    """Add to out, (RANKS * RANKS), the inner products of RANKS rows end to end with RANKS others."""
    n = len(left) // RANKS
    for r in range(RANKS):
        for s in range(RANKS):
            total = ZERO
            for j in range(n):
                total += left[r * n + j] * right[s * n + j]
            out[r * RANKS + s] += total


@compiled
def step(factors: Floats, products: Floats, gram: Floats, made: Floats) -> float:  # pragma: no cover
    """Move RANKS rows of factors to their minima in turn; return the sum of their projected gradients.

    Args:
        factors: (RANKS * n) rows end to end.
        products: (RANKS * n) their products with X, less what other factors explain: gradient = gram F - products.
        gram: (RANKS * RANKS) the second derivatives. Where one is 0 so is the gradient, and the row stays.
        made: (RANKS * RANKS) to which the inner products of the moved rows are added.
    """
    n = len(factors) // RANKS
    g00, g01, g02, g11, g12, g22 = gram[0], gram[1], gram[2], gram[4], gram[5], gram[8]
    i0 = ONE / g00 if g00 > ZERO else ZERO
    i1 = ONE / g11 if g11 > ZERO else ZERO
    i2 = ONE / g22 if g22 > ZERO else ZERO
    violation = m00 = m01 = m02 = m11 = m12 = m22 = ZERO
    for j in range(n):
        f0, f1, f2 = factors[j], factors[n + j], factors[2 * n + j]
        slope = g00 * f0 + g01 * f1 + g02 * f2 - products[j]
        violation += max(-slope, slope if f0 > ZERO else ZERO)
        f0 = max(f0 - slope * i0, ZERO)
        slope = g01 * f0 + g11 * f1 + g12 * f2 - products[n + j]
        violation += max(-slope, slope if f1 > ZERO else ZERO)
        f1 = max(f1 - slope * i1, ZERO)
        slope = g02 * f0 + g12 * f1 + g22 * f2 - products[2 * n + j]
        violation += max(-slope, slope if f2 > ZERO else ZERO)
        f2 = max(f2 - slope * i2, ZERO)
        factors[j], factors[n + j], factors[2 * n + j] = f0, f1, f2
        m00 += f0 * f0
        m01 += f0 * f1
        m02 += f0 * f2
        m11 += f1 * f1
        m12 += f1 * f2
        m22 += f2 * f2
    made[0] += m00
    made[1] += m01
    made[2] += m02
    made[4] += m11
    made[5] += m12
    made[8] += m22
    return float(violation)


@compiled
def step_all(factors: Floats, products: Floats, gram: Floats, made: Floats) -> float:  # pragma: no cover
    """Step all blocks, (blocks * RANKS * n) end to end; `products`, their products with X, is used up.

    `gram` and `made` are those of `step` for each pair of blocks, end to end. One block is the rule and is not sliced:
    to count a slice's references takes as long as the step of W.
    """
    square = RANKS * RANKS
    if len(gram) == square:
        return step(factors, products, gram, made)
    blocks = round(np.sqrt(len(gram) // square))
    n = len(factors) // blocks
    violation = 0.0
    for r in range(blocks):
        own = products[r * n : (r + 1) * n]
        for s in range(blocks):
            pair = (r * blocks + s) * square
            if s != r:
                couple(factors[s * n : (s + 1) * n], gram[pair : pair + square], own)
        pair = r * (blocks + 1) * square
        violation += step(factors[r * n : (r + 1) * n], own, gram[pair : pair + square], made[pair : pair + square])
    for r in range(blocks):
        for s in range(blocks):
            pair = (r * blocks + s) * square
            if s != r:
                inner(factors[r * n : (r + 1) * n], factors[s * n : (s + 1) * n], made[pair : pair + square])
    return violation


@compiled
def descend(work: Workspace, signed: bool, limits: tuple[int, float]) -> int:  # pragma: no cover
    """Sweep W, then H, until the projected gradients are small; return the number of sweeps."""
    weights, factors, spatial, products, projected, scratch, spatial_gram, gram = work
    blocks = len(spatial)
    n = len(projected) // blocks
    products[:] = ZERO
    gram[:] = ZERO
    for t in range(len(weights)):
        for r in range(blocks):
            own = factors[t, r * n : (r + 1) * n]
            accumulate(weights[t], own, products[r])
            for s in range(blocks):
                pair = (r * blocks + s) * RANKS * RANKS
                inner(own, factors[t, s * n : (s + 1) * n], gram[pair : pair + RANKS * RANKS])
    flat_spatial, flat_products = spatial.reshape(-1), products.reshape(-1)
    first = 0.0
    for sweep in range(1, limits[0] + 1):
        spatial_gram[:] = ZERO
        violation = step_all(flat_spatial, flat_products, gram, spatial_gram)
        products[:] = ZERO
        gram[:] = ZERO
        for t in range(len(weights)):
            for r in range(blocks):
                project(weights[t], spatial[r], signed, scratch, projected[r * n : (r + 1) * n])
            violation += step_all(factors[t], projected, spatial_gram, gram)
            for r in range(blocks):
                accumulate(weights[t], factors[t, r * n : (r + 1) * n], products[r])
        if sweep == 1:
            first = violation
        if violation <= limits[1] * first:
            return sweep
    return limits[0]

"""Relevance through a two-block vision transformer again, with plain loops over single numbers (NumPy float64).

Written from [002] 2-27 … 2-40 and for torchvision's VisionTransformer with one picture. Nothing of the kit is used:
gradients of the attention probabilities are differences of forward passes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = Any
Nudges = dict[tuple[int, int, int, int], float]  # (block, head, row, column) → what is added to A there


class Reference:
    """One network (its state dict as arrays), one picture's patch embeddings (p×d), one class."""

    def __init__(self, state: dict[str, Array], patches: Array, heads: int, blocks: int, target: int) -> None:
        self.w, self.heads, self.blocks, self.target = state, heads, blocks, target
        self.patches = patches
        self.y, self.kept = self.forward({})

    # ------------------------------------------------------------------------------------------------- forward

    def forward(self, nudges: Nudges) -> tuple[float, dict[str, Array]]:
        """The logit of the class and every value."""
        w, kept = self.w, dict[str, Any]()
        tokens = np.concatenate([w["class_token"][0], self.patches])
        kept["tokens"], kept["positions"] = tokens, w["encoder.pos_embedding"][0]
        x = tokens + kept["positions"]
        for b in range(self.blocks):
            at = f"encoder.layers.encoder_layer_{b}."
            kept[f"{b}.x"] = x
            kept[f"{b}.ln1"] = n = self.norm(x, at + "ln_1")
            kept[f"{b}.out"] = out = self.attention(n, b, nudges, kept)
            y = out @ w[at + "self_attention.out_proj.weight"].T + w[at + "self_attention.out_proj.bias"]
            kept[f"{b}.attended"] = y
            x = y + x
            kept[f"{b}.middle"] = x
            kept[f"{b}.ln2"] = n = self.norm(x, at + "ln_2")
            z = n @ w[at + "mlp.0.weight"].T + w[at + "mlp.0.bias"]
            kept[f"{b}.hidden"] = z = z * (1 + np.vectorize(math.erf)(z / math.sqrt(2))) / 2
            kept[f"{b}.mlp"] = z @ w[at + "mlp.3.weight"].T + w[at + "mlp.3.bias"]
            x = x + kept[f"{b}.mlp"]
        kept["read"] = self.norm(x, "encoder.ln")[:1]
        logits = kept["read"] @ w["heads.head.weight"].T + w["heads.head.bias"]
        return float(logits[0, self.target]), kept

    def attention(self, n: Array, b: int, nudges: Nudges, kept: dict[str, Any]) -> Array:
        """The heads' outputs of block b, side by side, from its normalised tokens."""
        at = f"encoder.layers.encoder_layer_{b}.self_attention."
        q, k, v = np.split(n @ self.w[at + "in_proj_weight"].T + self.w[at + "in_proj_bias"], 3, 1)
        size, outs = q.shape[1] // self.heads, []
        for h in range(self.heads):
            part = slice(h * size, (h + 1) * size)
            scores = q[:, part] @ k[:, part].T
            A = np.exp((scores - scores.max(1, keepdims=True)) / math.sqrt(size))
            A /= A.sum(1, keepdims=True)
            for (block, head, row, column), step in nudges.items():
                if (block, head) == (b, h):
                    A[row, column] += step
            outs.append(A @ v[:, part])
            kept[f"{b}.{h}"] = (A, q[:, part], k[:, part], v[:, part], outs[-1], scores)
        return np.concatenate(outs, 1)

    def norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-6) * self.w[name + ".weight"] + self.w[
            name + ".bias"
        ]

    def gradient(self, block: int, head: int, step: float = 1e-5) -> Array:
        """∂y/∂A of one head, entry by entry, by central differences."""
        s = len(self.kept["tokens"])
        found = np.zeros((s, s))
        for i in range(s):
            for j in range(s):
                up, down = (self.forward({(block, head, i, j): sign * step})[0] for sign in (1, -1))
                found[i, j] = (up - down) / (2 * step)
        return found

    # ----------------------------------------------------------------------------------------------- relevance

    def relevance(self) -> tuple[Array, dict[tuple[int, int], Array]]:
        """Relevance of the patch embeddings (p×d), and of every head's attention probabilities (s×s)."""
        kept, w, attention = self.kept, self.w, {}
        R = np.zeros((1, len(w["heads.head.weight"])))
        R[0, self.target] = 1
        tokens = np.zeros_like(kept["tokens"])
        tokens[0] = linear(kept["read"], w["heads.head.weight"], R)[0]
        R = tokens
        for b in reversed(range(self.blocks)):
            at = f"encoder.layers.encoder_layer_{b}."
            skip, R = add(kept[f"{b}.middle"], kept[f"{b}.mlp"], R)
            R = linear(kept[f"{b}.hidden"], w[at + "mlp.3.weight"], R)
            R = skip + linear(kept[f"{b}.ln2"], w[at + "mlp.0.weight"], R)
            R, skip = add(kept[f"{b}.attended"], kept[f"{b}.x"], R)
            R = linear(kept[f"{b}.out"], w[at + "self_attention.out_proj.weight"], R)
            parts = []
            for h, part in enumerate(np.split(R, self.heads, 1)):
                A, q, k, v, out, scores = kept[f"{b}.{h}"]
                RA, Rv = product(A, v, out, part)
                attention[b, h] = RA
                Rq, Rk = product(q, k.T, scores, RA)
                parts.append((Rq, Rk.T, Rv))
            joined = np.concatenate([np.concatenate([part[i] for part in parts], 1) for i in range(3)], 1)
            R = skip + linear(kept[f"{b}.ln1"], w[at + "self_attention.in_proj_weight"], joined)
        R, _ = add(kept["tokens"], kept["positions"], R)
        return R[1:], attention

    def attribution(self) -> Array:
        """Transformer attribution of every patch (2-39, 2-40)."""
        s = len(self.kept["tokens"])
        _, R = self.relevance()
        C = np.eye(s)
        for b in range(self.blocks):
            mean = np.zeros((s, s))
            for h in range(self.heads):
                g = self.gradient(b, h)
                for i in range(s):
                    for j in range(s):
                        mean[i, j] += max(0.0, g[i, j] * R[b, h][i, j]) / self.heads
            C = (np.eye(s) + mean) @ C
        return C[0, 1:]


def linear(x: Array, weight: Array, R: Array) -> Array:
    """2-30: the positive products x_j w_ij alone."""
    found = np.zeros_like(x)
    for t in range(len(x)):
        for i in range(len(weight)):
            z = sum(max(0.0, x[t, j] * weight[i, j]) for j in range(x.shape[1]))
            for j in range(x.shape[1]):
                if z and x[t, j] * weight[i, j] > 0:
                    found[t, j] += x[t, j] * weight[i, j] / z * R[t, i]
    return found


def add(u: Array, v: Array, R: Array) -> tuple[Array, Array]:
    """2-28 for L = u + v, then 2-33 and 2-34."""
    a, b = np.zeros_like(u), np.zeros_like(v)
    for t in range(u.shape[0]):
        for j in range(u.shape[1]):
            a[t, j] = u[t, j] / (u[t, j] + v[t, j]) * R[t, j]
            b[t, j] = v[t, j] / (u[t, j] + v[t, j]) * R[t, j]
    return normalised(a, b, R)


def product(u: Array, v: Array, out: Array, R: Array) -> tuple[Array, Array]:
    """2-28 for L = u v (matrices), then 2-33 and 2-34."""
    a, b = np.zeros_like(u), np.zeros_like(v)
    for t in range(u.shape[0]):
        for c in range(v.shape[1]):
            for k in range(u.shape[1]):
                part = u[t, k] * v[k, c] / out[t, c] * R[t, c]
                a[t, k] += part
                b[k, c] += part
    return normalised(a, b, R)


def normalised(a: Array, b: Array, R: Array) -> tuple[Array, Array]:
    total = abs(a.sum()) + abs(b.sum())
    return a * abs(a.sum()) / total * R.sum() / a.sum(), b * abs(b.sum()) / total * R.sum() / b.sum()

"""Fusing stage maps: formula 3.9 written again in plain NumPy, golden values, and what must hold for every plan."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from camwidgets.maps import PRESETS, Plan, fuse, make_plan
from camwidgets.maps.fusion import REDUCTIONS, SCALES, gate_stage, shallow_stages

NETWORK = ["S1", "S2", "S3", "S4", "S5"]
SIDES = {"S1": 16, "S2": 8, "S3": 4, "S4": 2, "S5": 1}


def maps(*names: str, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {name: random.random((SIDES[name], SIDES[name] + 1)).astype(np.float32) * 7 for name in names}


def bilinear(m: np.ndarray, size: tuple[int, int], align_corners: bool = False) -> np.ndarray:
    """Bilinear interpolation written out: half-pixel centres, edges clamped (or corners aligned)."""
    m = m.astype(np.float64)
    grid = []
    for old, new in zip(m.shape, size, strict=True):
        i = np.arange(new)
        at = i * (old - 1) / max(1, new - 1) if align_corners else np.clip((i + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.floor(at).astype(int)
        grid.append((low, np.minimum(low + 1, old - 1), at - low))
    (y0, y1, v), (x0, x1, u) = grid
    top = m[y0][:, x0] * (1 - u) + m[y0][:, x1] * u
    bottom = m[y1][:, x0] * (1 - u) + m[y1][:, x1] * u
    return np.asarray(top * (1 - v)[:, None] + bottom * v[:, None])


def formula_39(stage_maps: dict[str, np.ndarray], size: tuple[int, int], gamma: float) -> np.ndarray:
    """[000] 3.9: M̂ = max over stages of tanh(γ M / max M) for S1–S3, of M / max M for S4 and S5."""
    layers = []
    for name, m in stage_maps.items():
        up = bilinear(m, size)
        x = up / up.max()
        layers.append(np.tanh(gamma * x) if name in ("S1", "S2", "S3") else x)
    return np.asarray(np.max(layers, axis=0))


@pytest.mark.parametrize("names", [NETWORK, ["S3", "S4", "S5"], ["S1", "S5"], ["S2"], ["S5"]])
@pytest.mark.parametrize("gamma", [0.5, 2.0, 4.0])
def test_paper_is_formula_39(names: list[str], gamma: float) -> None:
    chosen = maps(*names)
    found = fuse(chosen, (23, 31), make_plan(gamma, preset="paper"), NETWORK)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, formula_39(chosen, (23, 31), gamma), atol=2e-6)


def test_the_defaults_are_the_paper() -> None:
    assert make_plan() == PRESETS["paper"]
    assert make_plan(3.0).name == "paper"
    assert make_plan(scale="cbrt").name == "custom"
    assert (PRESETS["paper"].gamma, PRESETS["paper"].scale, PRESETS["paper"].reduce) == (2.0, "tanh", "max")


@pytest.mark.parametrize(
    ("scale", "wanted"), [("tanh", math.tanh(1.0)), ("none", 0.5), ("cbrt", 0.5 ** (1 / 3)), ("tan", math.tan(0.5))]
)
def test_scale_functions(scale: str, wanted: float) -> None:
    """One shallow stage with the values 0, ½ and 1 after division by its maximum."""
    top = {"tanh": math.tanh(2.0), "none": 1.0, "cbrt": 1.0, "tan": math.tan(1.0)}[scale]
    m = {"S1": np.array([[0.0, 2.0, 4.0]], np.float32)}
    found = fuse(m, (1, 3), make_plan(scale=scale), NETWORK)
    # tan(1) > 1: the map is divided by its maximum, the others are left.
    by = top if top > 1 else 1.0
    np.testing.assert_allclose(found, [[0, wanted / by, top / by]], atol=1e-6)


def test_the_two_deepest_stages_are_never_scaled_in_the_paper() -> None:
    m = np.array([[1.0, 4.0]], np.float32)
    for name in NETWORK:
        found = fuse({name: m}, (1, 2), PRESETS["paper"], NETWORK)[0, 0]
        assert found == pytest.approx(0.25 if name in ("S4", "S5") else math.tanh(0.5))
    assert shallow_stages(NETWORK) == {"S1", "S2", "S3"}
    assert shallow_stages(["S1", "S2", "S3"]) == {"S1"}
    assert shallow_stages(["S1"]) == set()


@pytest.mark.parametrize(("reduce", "wanted"), [("max", [0.5, 1.0]), ("mean", [0.375, 1.0]), ("product", [0.125, 1.0])])
def test_reductions(reduce: str, wanted: list[float]) -> None:
    m = {"S4": np.array([[1.0, 4.0]], np.float32), "S5": np.array([[1.0, 2.0]], np.float32)}
    np.testing.assert_allclose(fuse(m, (1, 2), make_plan(reduce=reduce), NETWORK)[0], wanted, atol=1e-7)


def test_normalisation_before_or_after_upsampling() -> None:
    """The peak of a map is lost in upsampling: "input" divides by what is left of it, "native" by the peak itself."""
    m = np.zeros((3, 3), np.float32)
    m[1, 1] = 1
    even = fuse({"S5": m}, (6, 6), Plan(scaled="none"), NETWORK)
    native = fuse({"S5": m}, (6, 6), Plan(scaled="none", at="native"), NETWORK)
    assert even.max() == 1
    assert native.max() == pytest.approx(0.75**2)
    np.testing.assert_allclose(even * native.max(), native, atol=1e-6)


def test_the_gate() -> None:
    """Our own preset: mean of the others ^½ · (deepest, signed) ^ 3/2, stretched to a maximum of 1."""
    plan = PRESETS["gated"]
    chosen = maps("S3", "S4", "S5", seed=3)
    chosen["S5"] = np.array([[1.0, 3.0], [0.0, 2.0]], np.float32)
    size = (16, 16)
    up = {name: bilinear(m, size) for name, m in chosen.items()}
    body = (up["S3"] / up["S3"].max() + up["S4"] / up["S4"].max()) / 2
    wanted = body**plan.body * (up["S5"] / up["S5"].max()) ** plan.gate
    np.testing.assert_allclose(fuse(chosen, size, plan, NETWORK), wanted / wanted.max(), atol=3e-6)
    assert gate_stage(["S3", "S4", "S5"], plan) == "S5"
    assert gate_stage(["S5"], plan) is None, "a stage alone has nothing to gate"
    np.testing.assert_allclose(fuse({"S5": chosen["S5"]}, size, plan, NETWORK), up["S5"] / up["S5"].max(), atol=1e-6)


# -------------------------------------------------------------------------------------------- for every plan alike

EVERY = [*PRESETS.values(), *(make_plan(scale=s, reduce=r) for s in SCALES for r in REDUCTIONS)]


@pytest.mark.parametrize("plan", EVERY, ids=lambda plan: f"{plan.name}-{plan.scale}-{plan.reduce}")
def test_every_plan_gives_a_finite_map_in_0_to_1(plan: Plan) -> None:
    for names in (NETWORK, ["S4", "S5"], ["S1"], ["S5"]):
        found = fuse(maps(*names), (17, 13), plan, NETWORK)
        assert found.shape == (17, 13)
        assert found.dtype == np.float32
        assert 0 <= found.min() <= found.max() <= 1
        assert found.max() > 0


@pytest.mark.parametrize("plan", EVERY, ids=lambda plan: f"{plan.name}-{plan.scale}-{plan.reduce}")
def test_flat_maps_are_no_nan(plan: Plan) -> None:
    silent = {name: np.zeros_like(m) for name, m in maps(*NETWORK).items()}
    assert not fuse(silent, (16, 16), plan, NETWORK).any()
    level = {name: np.full_like(m, 3) for name, m in maps(*NETWORK).items()}
    assert np.isfinite(fuse(level, (16, 16), plan, NETWORK)).all()
    one = {**silent, "S5": np.array([[0.0, 1e-30]], np.float32)}
    assert np.isfinite(fuse(one, (16, 16), plan, NETWORK)).all()


@pytest.mark.parametrize("plan", [p for p in EVERY if p.epsilon == 0], ids=lambda p: f"{p.name}-{p.scale}-{p.reduce}")
def test_the_unit_of_a_map_does_not_matter(plan: Plan) -> None:
    chosen = maps(*NETWORK)
    larger = {name: m * (10 ** (i - 2)) for i, (name, m) in enumerate(chosen.items())}
    np.testing.assert_allclose(fuse(larger, (16, 16), plan, NETWORK), fuse(chosen, (16, 16), plan, NETWORK), atol=2e-6)


@settings(deadline=None, max_examples=60)
@given(
    m=arrays(np.float32, (3, 4), elements=st.floats(0, 1e6, width=32)),
    n=arrays(np.float32, (2, 2), elements=st.floats(0, 1e6, width=32)),
    plan=st.sampled_from(EVERY),
)
def test_any_maps(m: np.ndarray, n: np.ndarray, plan: Plan) -> None:
    given_maps = {"S1": m.copy(), "S5": n.copy()}
    found = fuse(given_maps, (9, 7), plan, NETWORK)
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1
    assert np.array_equal(given_maps["S1"], m), "fusing changed its input"
    assert np.array_equal(given_maps["S5"], n), "fusing changed its input"


# ------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("gamma", [0, -1.0, float("nan"), float("inf"), "2", None, True])
@pytest.mark.parametrize("preset", [None, "torchcam"])
def test_gamma(gamma: Any, preset: str | None) -> None:
    with pytest.raises(ValueError, match="gamma must be a finite number above 0"):
        make_plan(gamma, preset=preset)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scale": "tahn"}, r"unknown scale 'tahn'; valid: tanh, none, cbrt, tan .did you mean 'tan'\?."),
        ({"reduce": "sum"}, "unknown reduction 'sum'; valid: max, mean, product"),
        ({"preset": "papers"}, "unknown preset 'papers'; valid: paper, official-script, .*did you mean 'paper'"),
        ({"preset": "paper", "scale": "tahn"}, "unknown scale"),
        ({"preset": "paper", "reduce": "sum"}, "unknown reduction"),
    ],
)
def test_unknown_names(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make_plan(**options)


@pytest.mark.parametrize("field", ["scaled", "normalise", "at", "final"])
def test_unknown_steps_of_a_plan(field: str) -> None:
    wrong: dict[str, Any] = {field: "nothing"}
    with pytest.raises(ValueError, match=r"unknown .* 'nothing'; valid"):
        Plan(**wrong)


def test_nothing_to_fuse() -> None:
    with pytest.raises(ValueError, match="no stage was given"):
        fuse({}, (4, 4), PRESETS["paper"])


def test_plans_go_into_json() -> None:
    for plan in (*EVERY, make_plan(np.float32(1.5)), make_plan(np.int64(3))):  # type: ignore[arg-type]
        assert Plan(**json.loads(json.dumps(plan.as_dict()))) == plan

"""Which taps become stages: one for each resolution, and several blocks of a network that keeps one resolution."""

from __future__ import annotations

from collections.abc import Sequence

from .taps import Tap

MOST = 5  # stages that explorers have room for


def choose_stages(taps: Sequence[Tap], fed: Sequence[Tap]) -> dict[str, Tap]:
    """"S1" (shallow) … → tap, from all taps in order and those whose values go into an attention.

    A convolutional stage is the last rectified activation at its stride that everything passes through (ResNet-50:
    the output of `layer1`, not the first ReLU inside `layer2.0`, which the shortcut goes around). Where every one is
    bypassed (ConvNeXt), it is the last one.

    Where attention comes after that (or all is bypassed), the stage is what the last attention of that stride is fed
    with: the normalised tokens. A later value will not do. If the class token alone is read, the other tokens of the
    last block's output have no gradient, and the tokens before its attention are the last ones that have. A transformer
    that keeps one resolution has several such stages, evenly spread over its blocks.
    """
    order = {tap: i for i, tap in enumerate(taps)}
    found: dict[int, list[Tap]] = {}
    for tap in taps:
        if tap.activation is None or tap.layout == "tokens" or tap.size == (1, 1):
            continue
        best = found.get(tap.stride)
        if best is None or best[0].bypassed or not tap.bypassed:
            found[tap.stride] = [tap]
    blocks: dict[int, list[Tap]] = {}
    for tap in sorted(set(fed), key=order.__getitem__):
        blocks.setdefault(tap.stride, []).append(tap)
    for stride, group in blocks.items():
        best = found.get(stride)
        if best is None or best[0].bypassed or order[best[0]] < order[group[-1]]:
            found[stride] = group[-1:]
            if len(blocks) == 1:
                found[stride] = spread(group, max(1, MOST - len(found) + 1))
    chosen = [tap for stride in sorted(found) for tap in found[stride]]
    return {f"S{i + 1}": tap for i, tap in enumerate(chosen)}


def spread(items: Sequence[Tap], count: int) -> list[Tap]:
    """At most `count` of these, evenly spread, always with the last.

    Example:
        >>> spread([Tap(f"b{i}") for i in range(12)], 5)
        ['b2', 'b4', 'b7', 'b9', 'b11']
    """
    count = min(count, len(items))
    return [items[-(-len(items) * (i + 1) // count) - 1] for i in range(count)]

"""Groups out of pairs: which contents are copies of one recording, and which recordings are versions of one piece.

A chain of resemblances is no group: A like B and B like C does not make A and C one recording. Where a pair within a chain was
not found alike, the chain is cut at its weakest place (average linkage). The result depends on the pairs, not on their order.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

#: Distance of a pair that was not found alike: unrelated audio differs in half the bits.
_UNKNOWN = 0.5
#: Mean distance up to which two parts of a chain are one group.
_LINKED = 0.25
#: Chains longer than this are cut into what is directly alike to one member: the matrix would be too large.
_LARGEST = 2000


def components(edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Return the connected parts of a graph, each sorted, sorted by their first."""
    parent: dict[str, str] = {}

    def root(node: str) -> str:
        parent.setdefault(node, node)
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for one, other in edges:
        a, b = root(one), root(other)
        if a != b:
            parent[max(a, b)] = min(a, b)
    parts: dict[str, list[str]] = {}
    for node in sorted(parent):
        parts.setdefault(root(node), []).append(node)
    return list(parts.values())


def recordings(rates: Mapping[tuple[str, str], float]) -> list[list[str]]:
    """Return groups of contents that are one recording.

    Parameters
    ----------
    rates : mapping
        (one, other), one < other, to the bit error rate of two contents that were judged the same recording.
    """
    groups = []
    inside: dict[str, dict[str, float]] = {}
    for (one, other), rate in rates.items():
        inside.setdefault(one, {})[other] = rate
    for part in components(rates):
        known = sum(len(inside.get(node, {})) for node in part)
        if known == len(part) * (len(part) - 1) // 2:
            groups.append(part)
        else:
            groups += _cut(part, inside)
    return sorted(group for group in groups if len(group) > 1)


def _cut(part: Sequence[str], inside: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(part) > _LARGEST:
        return [group for start in range(0, len(part), _LARGEST) for group in _cut(part[start : start + _LARGEST], inside)]
    number = {node: k for k, node in enumerate(part)}
    distance = np.full((len(part), len(part)), _UNKNOWN)
    for one in part:
        for other, rate in inside.get(one, {}).items():
            if other in number:
                distance[number[one], number[other]] = rate
    upper = distance[np.triu_indices(len(part), 1)]
    if not len(upper):
        return [list(part)]
    labels = fcluster(linkage(upper, method="average"), _LINKED, criterion="distance")
    groups: dict[int, list[str]] = {}
    for node, label in zip(part, labels.tolist(), strict=True):
        groups.setdefault(label, []).append(node)
    return list(groups.values())

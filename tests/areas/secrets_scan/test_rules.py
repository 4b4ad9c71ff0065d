"""Every rule finds its examples, and nothing in those that are none; by both engines the same."""

from __future__ import annotations

import random
import re

import pytest
from tests.areas.secrets_scan.made_up import expand

from opsctl.adapters.secret_scanner.judging import CHECKS
from opsctl.adapters.secret_scanner.patterns import Patterns, load_patterns
from opsctl.adapters.secret_scanner.reading import pieces_of
from opsctl.adapters.secret_scanner.rules import (
    SEVERITIES,
    Example,
    Rule,
    read_examples,
    read_rules,
    source_of_rules,
)
from opsctl.adapters.secret_scanner.scanner import Found, Scanner
from opsctl.adapters.secret_scanner.sighting import Place

RULES = read_rules(source_of_rules())
EXAMPLES = read_examples(source_of_rules())


@pytest.fixture(scope="module")
def fast() -> Patterns:
    return load_patterns()


@pytest.fixture(scope="module")
def slow() -> Patterns:
    return load_patterns(fast=False)


def scan(patterns: Patterns, text: str, path: str = "app.txt") -> list[Found]:
    return Scanner(patterns).scan(pieces_of(text.encode()), Place(path))


def rule_of(example: Example) -> Rule:
    return next(rule for rule in RULES if rule.id == example.rule)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: f"{each.rule}-{each.found}")
def test_examples_are_judged_as_their_rule_says(fast: Patterns, example: Example) -> None:
    for seed in range(3):
        text = expand(example.text, random.Random(f"{example.rule}{example.text}{seed}"))
        found = {each.rule for each in scan(fast, text, example.path)}
        if example.found:
            assert found, text
        else:
            assert example.rule not in found, text
            assert not found, f"{found}: {text}"


def test_most_examples_are_found_by_their_own_rule(fast: Patterns) -> None:
    own = other = 0
    for example in EXAMPLES:
        if example.found:
            text = expand(example.text, random.Random(example.text))
            found = {each.rule for each in scan(fast, text, example.path)}
            own, other = own + (example.rule in found), other + (example.rule not in found)

    # A few forms belong to two providers; the first rule has them.
    assert other <= 0.08 * own


def test_every_example_that_is_found_is_found_without_hyperscan(
    fast: Patterns, slow: Patterns
) -> None:
    for example in EXAMPLES:
        text = expand(example.text, random.Random(example.text + "twice"))

        assert scan(slow, text, example.path) == scan(fast, text, example.path), text


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_is_whole(rule: Rule) -> None:
    examples = [example for example in EXAMPLES if example.rule == rule.id]

    assert {example.found for example in examples} == {True, False}
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", rule.id)
    assert bool(rule.pattern) != bool(rule.assigned)
    assert rule.severity in SEVERITIES
    assert not rule.check or rule.check in CHECKS
    assert rule.title
    assert rule.next
    assert rule.keywords
    assert 0 < rule.reach < 8192
    for example in examples:
        text = expand(example.text, random.Random(1)).lower()
        if example.found:
            assert any(keyword in text for keyword in rule.keywords), text


def test_rules_have_names_of_their_own_and_are_many() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert len(RULES) >= 150

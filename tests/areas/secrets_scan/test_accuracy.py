"""Of a set of secrets and of what only looks like one: how many are found, how many are right.

`benchmarks/secrets_scan.py accuracy` runs the same set through other scanners.
"""

from __future__ import annotations

from tests.areas.secrets_scan.cases import Case, make_cases

from opsctl.adapters.secret_scanner.patterns import load_patterns
from opsctl.adapters.secret_scanner.reading import pieces_of
from opsctl.adapters.secret_scanner.scanner import Scanner
from opsctl.adapters.secret_scanner.sighting import Place


def test_secrets_are_found_and_hardly_anything_else() -> None:
    for seed in (1, 2):
        cases = make_cases(seed)
        scanner = Scanner(load_patterns())

        def flagged(case: Case, scanner: Scanner = scanner) -> bool:
            place = Place(case.name.partition("/")[2])
            return bool(scanner.scan(pieces_of(case.text.encode()), place))

        for stack, bar in ((False, 0.97), (True, 0.98)):
            part = [case for case in cases if case.stack == stack]
            said = {case.name: flagged(case) for case in part}
            right = sum(case.secret and said[case.name] for case in part)
            wrong = [case.name for case in part if not case.secret and said[case.name]]
            missed = [case.name for case in part if case.secret and not said[case.name]]
            assert right / (right + len(wrong)) >= bar, wrong
            assert right / (right + len(missed)) >= bar, missed


def test_the_set_is_large_enough_and_each_case_has_a_name() -> None:
    cases = make_cases()

    assert sum(case.secret for case in cases) >= 400
    assert sum(not case.secret for case in cases) >= 400
    assert len({case.name for case in cases}) == len(cases)

"""The matrix holds its hundred rows, and the table tells truthfully which test proves which."""

from collections import Counter

from tests.faults.matrix import Row, ids_of, load, table, unknown

SIZES = {
    "network": 17,
    "exchange": 24,
    "process": 18,
    "disk": 9,
    "clock": 5,
    "operator": 10,
    "strategy": 10,
    "configuration": 7,
}


def test_the_matrix_has_every_row_once_and_numbered_without_a_gap():
    rows = load()
    assert Counter(row.group for row in rows) == SIZES
    for group, size in SIZES.items():
        ids = [row.id for row in rows if row.group == group]
        assert ids == [f"{ids[0][0]}{number:02}" for number in range(1, size + 1)]
    assert len({row.id for row in rows}) == 100
    assert all(row.title == row.title.strip() != "" for row in rows)


def test_only_the_name_of_the_function_counts():
    assert ids_of("tests/a/test_n01_x.py::test_n02_n03_answer_lost[_e01]") == ["N02", "N03"]
    assert ids_of("tests/a.py::TestGroup_n04::test_reset_e05") == ["E05"]
    assert ids_of("tests/a.py::test_n2_and_xn02_and_n021_are_words") == []


def test_the_table_names_proofs_gaps_and_what_a_row_waits_for():
    rows = [Row("network", "N01", "lost"), Row("network", "N02", "late"), Row("disk", "D08", "away", needs="a mirror")]
    tests = ["tests/a.py::test_n01_lost", "tests/b.py::test_n01_n99_lost_twice"]
    assert table(rows, tests).splitlines() == [
        "network",
        "  N01  lost: covered",
        "         tests/a.py::test_n01_lost",
        "         tests/b.py::test_n01_n99_lost_twice",
        "  N02  late: NOT COVERED",
        "",
        "disk",
        "  D08  away: needs a mirror",
        "",
        "network          1 of   2 covered",
        "disk             0 of   1 covered",
        "all              1 of   3 covered",
    ]
    assert unknown(rows, tests) == {"N99": ["tests/b.py::test_n01_n99_lost_twice"]}

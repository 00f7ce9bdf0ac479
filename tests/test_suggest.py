from wirelessgym.suggest import closest, hint


def test_the_nearest_name_is_suggested_and_all_are_listed_where_none_is_near():
    assert hint("wmse", ["zf", "wmmse"]) == "did you mean 'wmmse'?"
    assert hint("colums", {"columns": 8}, prefix="panel.") == "did you mean 'panel.columns'?"
    assert hint("bread", iter(["zf", "wmmse"]), known_as="known keys") == "known keys: zf, wmmse"
    assert hint("bread", []) == "known: none"


def test_nothing_is_near_a_name_of_another_kind():
    assert closest("wmse", ["wmmse"]) == "wmmse" and closest("bread", ["wmmse"]) is None

from wirelessgym.bench.subjects import executors


def test_every_executor_has_a_row(monkeypatch, capsys):
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    monkeypatch.setattr(executors, "_seconds", lambda episodes, agents, executor: 1.0 * episodes)
    rows = executors.bench(fast=True)
    assert ["processes" in row.what for row in rows] == [True, False] and all(row.ratio == 1 for row in rows)
    assert "own process" in capsys.readouterr().out

from wirelessgym import bench_executors


def test_every_executor_has_a_row(monkeypatch, capsys):
    monkeypatch.setattr(bench_executors, "find_spec", lambda name: None)
    monkeypatch.setattr(bench_executors, "_seconds", lambda episodes, agents, executor: 1.0 * episodes)
    rows = bench_executors.bench_executors(fast=True)
    assert ["processes" in row.what for row in rows] == [True, False] and all(row.ratio == 1 for row in rows)
    assert "own process" in capsys.readouterr().out

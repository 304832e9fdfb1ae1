"""The snapshot report says nothing about the machine it was made on."""

from __future__ import annotations

import pickle

import pytest_textual_snapshot as plugin


def test_the_report_holds_no_environment(tmp_path, monkeypatch, request):
    monkeypatch.setenv("CTOS_TRIAL_SECRET", "do-not-write-this")
    console = plugin.PseudoConsole(False, (80, 24))
    data = (False, "<svg/>", "<svg/>", plugin.PseudoApp(console), "tests/x.py", 1, "x", "", "", True)
    (tmp_path / "one").write_bytes(pickle.dumps(data))
    diffs, passing = plugin.retrieve_svg_diffs(plugin.TemporaryDirectory(str(tmp_path)))
    assert passing == 0 and diffs[0].environment == {}
    report = tmp_path / "report.html"
    monkeypatch.setattr(request.config.option, "snapshot_report", str(report))
    plugin.save_svg_diffs(diffs, request.session, passing)
    written = report.read_text()
    assert "do-not-write-this" not in written and "CTOS_TRIAL_SECRET" not in written

# ruff: noqa: E501  (one row of a table stands on one line)

from __future__ import annotations

from pathlib import Path

import pytest
from release_support import FLEET, WHOLE_FLEET, lint_files

from fleet_release.findings import FilesRefusedError
from fleet_release.fleet_file import load_fleets


def test_a_whole_fleet_is_compiled_and_its_policies_with_it(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(WHOLE_FLEET)
    (spec,) = load_fleets([path])
    assert spec.select == {"role": "camera", "region": "eu"}
    assert [(a.app, a.version) for a in spec.run] == [("cam", "1.9.0")]
    assert spec.config == {"cam": {"GW_SITE": "{label.site}", "PORT": "1.10", "ON": "true"}}
    assert (spec.settings.report_every_s, spec.settings.images_quota_bytes) == (30, 2 << 30)
    assert spec.contact["satellite"] == {"match": {"link": "sat"}, "every": "6h"}
    assert spec.rollout.install_window == spec.rollout.download_window
    assert spec.rollout.waves[-1].rest
    assert spec.rollout.gates[0].text == "healthy >= 98%"


@pytest.mark.parametrize(
    ("rest", "code", "says"),
    [
        pytest.param("select: {}\nrun: [cam@1]", "E0414", "an empty selector selects no device", id="an empty selector"),
        pytest.param("select: some\nrun: [cam@1]", "E0413", "select", id="a selector that is a word"),
        pytest.param("select: all\nrun: [cam]", "E0414", '"cam" is not name@version', id="no version"),
        pytest.param("select: all\nrun: [cam@1, cam@2]", "E0452", "cam stands here twice", id="an app twice"),
        pytest.param("select: all\nrun: [cam@1]\nconfig: {can: {A: b}}", "E0453", "can is not an app that this fleet runs", id="config of another app"),
        pytest.param("select: all\nrun: [cam@1]\nrollout: {soak: 10}", "E0414", "wants a duration", id="a duration without a unit"),
        pytest.param("select: all\nrun: [cam@1]\nrollout: {stopAt: 2}", "E0414", "wants a percentage", id="a share without a sign"),
        pytest.param("select: all\nrun: [cam@1]\nrollout: {onFail: rever}", "E0414", "rollout.onFail wants", id="a word that is not offered"),
        pytest.param("select: all\nrun: [cam@1]\nrollout: {waves: [rest, {devices: 1}]}", "E0451", "`rest` is the last wave", id="rest before others"),
        pytest.param("select: all\nrun: [cam@1]\nrollout: {waves: [{upTo: 50%}, {upTo: 40%}]}", "E0451", "upTo 40% is not more", id="a wave that shrinks"),
        pytest.param("select: all\nrun: [cam@1]\nrollout: {waves: [{devices: 1, upTo: 4%}]}", "E0451", "a wave says exactly one", id="two in one wave"),
        pytest.param("select: all\nrun: [cam@1]\nrollout: {gates: [healthy]}", "E0414", '"healthy" is not a gate', id="no gate"),
        pytest.param("select: all\nrun: [cam@1]\nwindow: {cron: '0 22 * *', for: 1h}", "E0414", "is not five fields of cron", id="four fields"),
        pytest.param("select: all\nrun: [cam@1]\ncontact: {every: 5m, evry: 1}", "E0413", "contact.evry", id="a rule that is none"),
        pytest.param("select: all\nrun: [cam@1]\nsettings: {reportEvery: 1s}", "E0414", "settings.report_every_s", id="an interval below the bound"),
        pytest.param("select: all\nrun: [cam@1]\nendpoint: x", "E0412", 'unknown key "endpoint"', id="an unknown key"),
    ],
)  # fmt: skip
def test_a_fleet_that_cannot_be_meant_is_refused(rest: str, code: str, says: str) -> None:
    report = lint_files({"fleet.yaml": f"{FLEET}{rest}\n"}, None, "fleet.yaml")
    assert [e.code for e in report.errors] == [code], [e.render() for e in report.errors]
    assert says in report.errors[0].message


def test_loading_raises_with_every_finding_of_every_file(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(FLEET + "select: all\n")
    with pytest.raises(FilesRefusedError) as caught:
        load_fleets([tmp_path / "a.yaml", tmp_path / "gone.yaml"])
    assert sorted(f.code for f in caught.value.findings) == ["E0411", "E0433"]

"""What `chiffon doctor` says of tools. That it finds a sound installation sound is tested where one runs."""

import pytest

from chiffon_site.cli.doctor import _WITH_APPLICATION, _try


def finding():
    return _try("tools", _WITH_APPLICATION["tools"])


def test_it_counts_the_tools_and_those_of_others(packages):
    assert (finding().ok, finding().detail) == (True, "11 are installed, 0 of them third-party")
    packages.install_documented()
    assert (finding().ok, finding().detail) == (True, "12 are installed, 1 of them third-party")


def test_it_says_why_a_tool_is_left_out_and_what_to_do(packages):
    packages.install("acme-tools", "raise RuntimeError('boom')", "word = acme_tools:x")
    assert not finding().ok
    assert finding().detail == "word of acme-tools 1.2 is left out: It can not be loaded (RuntimeError: boom)."
    assert "package" in finding().mend
    packages.install("zeta-tools", "", "word = zeta_tools:x")
    assert finding().detail.endswith("1 more is left out, too.")


@pytest.mark.parametrize("off", [True, False])
def test_diagnostics_that_are_turned_off_are_no_trouble(settings, packages, off):
    settings.CHIFFON_DIAGNOSTICS = not off
    assert finding().ok

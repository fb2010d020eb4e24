import re

from conftest import ROOT, run


def test_no_trial_fails():
    done = run(ROOT / "benchmarks" / "faults.py", "--short")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    rows = re.findall(r"^(\S.*?)  +(\d+)  +(\d+)  +[\d.]+", done.stdout, re.MULTILINE)
    assert len(rows) == 18
    assert all(int(tried) > 0 and int(failures) == 0 for _, tried, failures in rows)

"""Commands called as a user calls them, in this process."""

from dealseg.cli import main


def ok(capsys, *words):
    """Run a command that must go well in silence but for what it prints; return that."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def fails(capsys, *words):
    """Run a command that must fail; return the one line it says."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    _, err = capsys.readouterr()
    assert err.startswith("dealseg: error: ")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err

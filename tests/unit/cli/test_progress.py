from edgepack.cli.progress import Terminal


def said(capsys, verbosity=0):
    with Terminal(verbosity) as terminal:
        terminal.progress("export", 0, 1)
        terminal.progress("export", 1, 1)
        terminal.progress("finetune", 1, 3)
        terminal.progress("finetune", 2, 3)
        terminal.progress("finetune", 3, 3)
        terminal.note("stays [float]")
        terminal.decision({"scheme": "float"})
    out, err = capsys.readouterr()
    assert out == ""
    return err


def test_where_there_is_no_terminal_each_step_gets_two_plain_lines(capsys):
    lines = said(capsys).splitlines()
    assert [line.partition(" in ")[0] for line in lines] == [
        "export ...", "export done", "finetune ...", "finetune done", "note: stays [float]",
    ]  # fmt: skip


def test_quiet_says_nothing_and_verbose_tells_decisions(capsys):
    assert said(capsys, -1) == ""
    assert "scheme: float" in said(capsys, 1)

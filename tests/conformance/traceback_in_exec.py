exec(compile("def f():\n    raise OSError(2, 'no')\nf()", "<made up>", "exec"))

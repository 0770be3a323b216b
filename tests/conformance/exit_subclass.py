class Mine(SystemExit):
    @property
    def code(self):
        return 9


raise Mine("whatever")

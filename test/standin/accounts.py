"""Who may use which project.

An account is the client_email of a service-account key; what stands before its @ is enough to name it.  A project that is
billed, or whose datasets are read, is open to every account unless it was restricted to some.  None, a request without a
token, counts as the first account.
"""


class Accounts:
    """The projects of one stand-in; the first is there from the start."""

    def __init__(self, first_account, first_project):
        self.first_account, self.first_project = first_account, first_project
        self.reset()

    def reset(self):
        self.billed = {self.first_project: None}  # project that has jobs → the accounts that may use it (None: all)
        self.restricted = {}  # the same of projects that only have datasets

    def open_project(self, project, accounts=None, billed=True):
        """A project from now on, with the accounts that may use it (None: all); billed: it can have jobs."""
        self.billed.pop(project, None)
        self.restricted.pop(project, None)
        (self.billed if billed else self.restricted)[project] = None if accounts is None else set(accounts)

    def projects(self):
        return set(self.billed) | set(self.restricted)

    def may_use(self, account, project):
        """Whether an account may read the project's datasets, if it has any."""
        allowed = self.billed.get(project, self.restricted.get(project))
        account = account or self.first_account
        return allowed is None or account in allowed or account.split("@")[0] in allowed

    def may_bill(self, account, project):
        """Whether an account may have jobs in the project."""
        return project in self.billed and self.may_use(account, project)

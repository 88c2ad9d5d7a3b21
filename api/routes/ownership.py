"""Whose task it is: those who asked for it and administrators may change it."""

from api.async_storage import Database
from api.auth.identity import User
from api.auth.tokens import Scope
from api.problems import forbidden
from api.tasks.runner import Kind, Task
from autoindex.storage.runs import shared_tasks


async def check_owner(user: User, task: Task, act: str, database: Database) -> None:
    """Raise a 403 for users who have not asked for the task, except administrators."""
    if user.may(Scope.ADMIN) or task.user == user.name:
        return
    if not await database.read(shared_tasks.has_asked, task.id, user.name):
        detail = f"only its owners or {Scope.ADMIN} may {act} task {task.id}"
        raise forbidden(detail, Scope.ADMIN)


def check_may_start(user: User, kind: Kind) -> None:
    """Raise a 403 for a user who may not start this kind of task."""
    if not may_start(user, kind):
        raise forbidden(f"the token lacks the scope {_scope(kind)}", _scope(kind))


def may_start(user: User, kind: Kind) -> bool:
    """Whether a user may start this kind of task."""
    return user.may(_scope(kind))


def _scope(kind: Kind) -> Scope:
    return Scope.ADMIN if kind is Kind.CLEANUP else Scope.RUN

"""Whose task it is: its owner and administrators may change it."""

from http import HTTPStatus

from api.auth.identity import User
from api.auth.tokens import Scope
from api.problems import Problem
from api.tasks.runner import Kind, Task


def check_owner(user: User, task: Task, act: str) -> None:
    """Raise a 403 for other users, except administrators."""
    if not user.may(Scope.ADMIN) and task.user != user.name:
        raise Problem(
            HTTPStatus.FORBIDDEN, f"only its owner or {Scope.ADMIN} may {act} task {task.id}"
        )


def check_may_start(user: User, kind: Kind) -> None:
    """Raise a 403 for a user who may not start this kind of task."""
    if not may_start(user, kind):
        detail = f"the token lacks the scope {_scope(kind)}"
        raise Problem(HTTPStatus.FORBIDDEN, detail)


def may_start(user: User, kind: Kind) -> bool:
    """Whether a user may start this kind of task."""
    return user.may(_scope(kind))


def _scope(kind: Kind) -> Scope:
    return Scope.ADMIN if kind is Kind.CLEANUP else Scope.RUN

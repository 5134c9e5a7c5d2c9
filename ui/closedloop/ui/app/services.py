"""What every page stands on, opened once for the app's process."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from closedloop.core.identity import Identities, Role, User
from closedloop.core.settings import Settings
from closedloop.core.store import Store
from closedloop.defence.issues.issue_book import IssueBook
from closedloop.defence.rules.rule_book import RuleBook
from closedloop.samples.annotation import AnnotationQueue
from closedloop.ui.app.defence_board import BoardSnapshots
from closedloop.ui.app.defence_repairs import Repairs
from closedloop.ui.app.defence_retirement import Retirement
from closedloop.ui.app.labels import ServedLabels
from closedloop.ui.app.login_guard import LoginGuard
from closedloop.ui.app.queue_route import QueueRoute
from closedloop.workflows.records import RunRecords

_USER = "user"


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """Connections that all sessions share; each is safe to use from several threads."""

    settings: Settings
    store: Store
    identities: Identities
    runs: RunRecords
    route: QueueRoute
    guard: LoginGuard
    served_labels: ServedLabels
    issues: IssueBook
    board: BoardSnapshots
    rules: RuleBook
    repairs: Repairs
    retirement: Retirement


@st.cache_resource(show_spinner="Opening the store …")
def services() -> Services:
    """Return the shared services; the settings come from the environment."""
    settings = Settings()
    store = Store.open(settings.store_url)
    issues, runs = IssueBook(store), RunRecords(store)
    return Services(
        settings=settings,
        store=store,
        identities=Identities(store),
        runs=runs,
        route=QueueRoute(settings, AnnotationQueue(store)),
        guard=LoginGuard(),
        served_labels=ServedLabels(settings),
        issues=issues,
        board=BoardSnapshots(issues),
        rules=RuleBook(store),
        repairs=Repairs(settings, runs),
        retirement=Retirement(settings, store),
    )


def current_user() -> User | None:
    """Return who is logged in to this browser session, as the store knows them now.

    A person whose account was disabled or removed is logged out with their next click.
    """
    name = st.session_state.get(_USER)
    if name is None:
        return None
    user = next((user for user in services().identities.users() if user.name == name), None)
    if user is None or user.disabled:
        sign_out()
        return None
    return user


def sign_in(user: User) -> None:
    """Remember who is logged in, for this browser session only."""
    st.session_state[_USER] = user.name


def sign_out() -> None:
    """Forget the session: nothing of one person may be seen by the next."""
    st.session_state.clear()


def is_engineer(user: User) -> bool:
    """Tell whether engineers' pages are open to ``user``."""
    return user.role in (Role.ENGINEER, Role.ADMIN)

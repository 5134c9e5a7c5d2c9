"""The log-in page."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from closedloop.core.errors import ClosedLoopError
from closedloop.ui.app.markdown_text import literal
from closedloop.ui.app.services import Services, services, sign_in

LOGO = Path(__file__).parents[1] / "logo.svg"


def page() -> None:
    """Ask for a name and a password, and refuse to be asked too often."""
    shared = services()
    _, middle, _ = st.columns([1, 1.3, 1])
    with middle:
        st.space("large")
        st.image(str(LOGO), width=210)
        st.caption("From dialogue logs to served models, and from complaints to repaired ones.")
        with st.form("login"):
            name = st.text_input("Name", autocomplete="username", max_chars=120)
            password = st.text_input(
                "Password", type="password", autocomplete="current-password", max_chars=1024
            )
            asked = st.form_submit_button("Log in", type="primary", width="stretch")
        if asked and _log_in(shared, name, password):
            st.rerun()
        if not shared.identities.users():
            st.info(
                "Nobody can log in yet. Add the first person with "
                "`closedloop users add NAME --role admin`."
            )


def _log_in(shared: Services, name: str, password: str) -> bool:
    try:
        shared.guard.check(name)
    except ClosedLoopError as error:
        st.error(literal(str(error)))
        return False
    try:
        user = shared.identities.log_in(name, password)
    except ClosedLoopError as error:
        shared.guard.failed(name)
        st.error(literal(str(error)))
        return False
    shared.guard.succeeded(name)
    sign_in(user)
    return True

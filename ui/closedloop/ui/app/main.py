"""The Streamlit app's entry: who is there, and which pages are open to them.

Run by ``streamlit run``; see `launch.app_command`. The pages are in ``views``: a folder ``pages``
beside this file would make Streamlit run a page alone where a link leads to it first.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from closedloop.core.errors import ClosedLoopError
from closedloop.core.identity import User
from closedloop.ui.app.markdown_text import literal
from closedloop.ui.app.services import (
    Services,
    current_user,
    is_engineer,
    services,
    sign_out,
)
from closedloop.ui.app.views import annotate, defence, explore, login, overview

# A file of our own: named icons and emoji would be fetched from the internet.
_ICON = Path(__file__).with_name("icon.svg")


def main() -> None:
    """Show the log-in page, or the navigation and the chosen page."""
    st.set_page_config(page_title="closedloop", page_icon=str(_ICON), layout="wide")
    try:
        shared = services()
        user = current_user()
    except ClosedLoopError as error:
        st.error(literal(str(error)))
        return
    if user is None:
        st.navigation(_doors(), position="hidden").run()
        return
    st.logo(str(login.LOGO), size="large")
    chosen = st.navigation(_pages(user))
    with st.sidebar:
        st.markdown(f":material/person: **{user.name}**  \n{user.role.value}")
        st.button("Sign out", icon=":material/logout:", on_click=_sign_out, args=(shared,))
    chosen.run()


def _doors() -> list[st.Page]:
    """Return the log-in page under every page's address, which then stays for after it."""
    return [
        st.Page(login.page, title="Log in", default=True),
        *(
            st.Page(login.page, title="Log in", url_path=path)
            for path in ("annotate", "defence", "explore")
        ),
    ]


def _pages(user: User) -> list[st.Page]:
    """Return the pages for a role; engineers' own pages join the list here."""
    pages = [
        st.Page(
            overview.page,
            title="Overview",
            icon=":material/all_inclusive:",
            url_path="overview",
            default=True,
        ),
        st.Page(annotate.page, title="Annotate", icon=":material/label:", url_path="annotate"),
        st.Page(defence.page, title="Defence", icon=":material/shield:", url_path="defence"),
    ]
    if is_engineer(user):
        pages.append(
            st.Page(
                explore.page, title="Explore", icon=":material/query_stats:", url_path="explore"
            )
        )
    return pages


def _sign_out(shared: Services) -> None:
    try:
        annotate.release_held_task(shared)
    finally:
        sign_out()


main()

"""One slot's tenants in memory: loaded when an event of theirs comes, saved when they changed."""

from __future__ import annotations

from typing import Generic

from closedloop.data.event import Kind
from closedloop.data.event_log.protocol import LoggedEvent, Position
from closedloop.defence.checkpoint import Checkpoint, SavedTenant, SlotFiles
from closedloop.defence.stream_clusters import Placement, StreamSettings
from closedloop.defence.stream_texts import carries_text
from closedloop.defence.tenant_stream import TenantStream, W, Watching


class Slot(Generic[W]):
    """A slot, from the position that its file has on.

    Parameters
    ----------
    number : int
    files : SlotFiles
    begins : Position
        Events before it are in its file, or were none for this slot.
    watching : Watching
    settings : StreamSettings, optional
        Of tenants that are new.
    first_id : int
        Smallest id of a cluster and a micro-cluster of a new tenant.
    """

    def __init__(
        self,
        number: int,
        *,
        files: SlotFiles,
        begins: Position,
        watching: Watching[W],
        settings: StreamSettings | None = None,
        first_id: int = 0,
    ) -> None:
        self.number = number
        self.held: dict[str, TenantStream[W]] = {}
        self.changed: set[str] = set()
        # In the file, with the time of each one's last event.
        self.tenants = files.tenants(number)
        self._files = files
        self._begins = begins
        self._watching = watching
        self._settings = settings
        self._first_id = first_id

    def take(self, logged: LoggedEvent) -> Placement | None:
        """Take an event of one of its tenants; return where its text went, where it is new."""
        if logged.offset < self._begins.get(logged.partition, 0):
            return None
        event = logged.event
        if carries_text(event):
            return self._changed(event.tenant).take(event)
        if event.kind is Kind.FEEDBACK and event.refers_to:
            self._changed(event.tenant).heed(event)
        return None

    def checkpoint(self, position: Position) -> Checkpoint:
        """Return all that is known, as of the position behind the last event taken."""
        changed = {name: self.held[name].saved() for name in self.changed}
        rest: dict[str, SavedTenant] = {}
        if not self.tenants.keys() <= changed.keys():
            rest = dict(self._files.read(self.number).tenants)
        every = rest | changed
        tenants = {name: every[name] for name in sorted(every)}
        return Checkpoint(position=position, tenants=tenants)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write what `checkpoint` returned, before any other event is taken."""
        self._files.write(self.number, checkpoint)
        self.tenants = {name: saved.latest for name, saved in checkpoint.tenants.items()}
        self.changed.clear()

    def let_go(self, tenant: str) -> None:
        """Forget a tenant that is saved; its next event loads it again."""
        if tenant not in self.changed:
            del self.held[tenant]

    def tenant(self, name: str) -> TenantStream[W]:
        """Return a tenant, from the file where it is not in memory."""
        found = self.held.get(name)
        if found is None:
            saved = None
            if name in self.tenants:
                saved = self._files.read(self.number).tenants[name]
            found = self.held[name] = TenantStream(
                self._watching,
                settings=self._settings,
                first_id=self._first_id,
                saved=saved,
            )
        return found

    def _changed(self, name: str) -> TenantStream[W]:
        self.changed.add(name)
        return self.tenant(name)

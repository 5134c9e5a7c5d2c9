"""Where the platform keeps its state and listens, read once from the environment.

Every value has an embedded default below ``home``, so that one machine needs no
configuration; a cluster sets the URLs instead (PostgreSQL, an object store). Settings are
passed in, never read at import time.

====================  ===========================  =======================================
variable              default                      meaning
====================  ===========================  =======================================
CLOSEDLOOP_HOME       ./.closedloop                state of an embedded installation
CLOSEDLOOP_STORE      sqlite file below home       metadata store (any SQLAlchemy URL)
CLOSEDLOOP_EVENT_LOG  sqlite file below home       event log: an SQLite file or a Kafka topic
CLOSEDLOOP_LAKE       folder below home            Delta tables
CLOSEDLOOP_REGISTRY   sqlite file below home       MLflow store (tracking and registry)
CLOSEDLOOP_ARTIFACTS  folder below home            model files
CLOSEDLOOP_API_PORT   8000                         Ray Serve
CLOSEDLOOP_API_MIN_REPLICAS  1                     processes that answer, at least
CLOSEDLOOP_API_MAX_REPLICAS  the least             … at most: more are started under load
CLOSEDLOOP_APP_PORT   8501                         Streamlit
CLOSEDLOOP_DASHBOARD_PORT  8265                    Ray dashboard (loopback only)
CLOSEDLOOP_RAY_ADDRESS     (none: start embedded)  Ray cluster to join
CLOSEDLOOP_RAY_STATE       (none: in memory)       where Ray's GCS keeps the cluster's state
CLOSEDLOOP_DEFENCE_SHARDS  1                       processes that cluster the stream; 0: none
====================  ===========================  =======================================

Ray's state is ``redis://HOST:PORT`` or a folder (a RocksDB); with one, a GCS that died is started
again and the cluster lives on.

The event log is ``sqlite:///FILE`` or, for a cluster,
``kafka://HOST:PORT,HOST:PORT/TOPIC?partitions=N``. Options of librdkafka go into the query, and
secrets into the file that ``properties=FILE`` names (`closedloop.data.event_log.kafka_url`). Only
closedloop should write to the topic: what others write there has not been through the door.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Places and ports of one installation.

    Examples
    --------
    >>> Settings(home="/srv/closedloop").store_url
    'sqlite:////srv/closedloop/store.db'
    """

    model_config = SettingsConfigDict(env_prefix="CLOSEDLOOP_", frozen=True, extra="ignore")

    home: Path = Path(".closedloop")
    store: str = ""
    event_log: str = ""
    lake: str = ""
    registry: str = ""
    artifacts: str = ""
    api_port: int = Field(default=8000, ge=1, le=65535)
    api_min_replicas: int = Field(default=1, ge=1)
    api_max_replicas: int = Field(default=1, ge=1)
    app_port: int = Field(default=8501, ge=1, le=65535)
    dashboard_port: int = Field(default=8265, ge=1, le=65535)
    ray_address: str = ""
    ray_state: str = ""
    defence_shards: int = Field(default=1, ge=0, le=64)

    @property
    def root(self) -> Path:
        """Absolute folder of the embedded state."""
        return self.home.expanduser().resolve()

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the metadata store."""
        return self.store or f"sqlite:///{self.root / 'store.db'}"

    @property
    def event_log_url(self) -> str:
        """URL of the event log."""
        return self.event_log or f"sqlite:///{self.root / 'events.db'}"

    @property
    def lake_url(self) -> str:
        """Folder or object-store URL that holds the Delta tables."""
        return self.lake or str(self.root / "lake")

    @property
    def registry_url(self) -> str:
        """MLflow tracking and registry URI; another database than the metadata store."""
        return self.registry or f"sqlite:///{self.root / 'registry.db'}"

    @property
    def artifacts_url(self) -> str:
        """Folder or URL that holds model files."""
        return self.artifacts or str(self.root / "artifacts")

    @property
    def defence_folder(self) -> Path:
        """Folder of the clusters' checkpoints and the recent texts."""
        return self.root / "defence"

    def environment(self) -> dict[str, str]:
        """Return the variables that make another process see these settings."""
        return {
            "CLOSEDLOOP_HOME": str(self.root),
            "CLOSEDLOOP_STORE": self.store_url,
            "CLOSEDLOOP_EVENT_LOG": self.event_log_url,
            "CLOSEDLOOP_LAKE": self.lake_url,
            "CLOSEDLOOP_REGISTRY": self.registry_url,
            "CLOSEDLOOP_ARTIFACTS": self.artifacts_url,
            "CLOSEDLOOP_API_PORT": str(self.api_port),
            "CLOSEDLOOP_API_MIN_REPLICAS": str(self.api_min_replicas),
            "CLOSEDLOOP_API_MAX_REPLICAS": str(self.api_max_replicas),
            "CLOSEDLOOP_APP_PORT": str(self.app_port),
            "CLOSEDLOOP_DASHBOARD_PORT": str(self.dashboard_port),
            "CLOSEDLOOP_RAY_ADDRESS": self.ray_address,
            "CLOSEDLOOP_RAY_STATE": self.ray_state,
            "CLOSEDLOOP_DEFENCE_SHARDS": str(self.defence_shards),
        }

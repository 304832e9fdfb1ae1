"""Where configuration and state live."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.kernel.errors import ConfigError

APP = "ctos"


@dataclass(slots=True, frozen=True)
class Paths:
    """The folders of one installation.

    Attributes:
        config: Holds `ctos.yaml`, `accounts.yaml`, `themes/` and `strategies/`.
        state: Holds the journal, recordings and logs.
    """

    config: Path
    state: Path

    @property
    def config_file(self) -> Path:
        """Return the path of `ctos.yaml`."""
        return self.config / "ctos.yaml"

    @property
    def accounts_file(self) -> Path:
        """Return the path of `accounts.yaml`."""
        return self.config / "accounts.yaml"

    @property
    def themes(self) -> Path:
        """Return the folder of the operator's themes."""
        return self.config / "themes"

    @property
    def database(self) -> Path:
        """Return the path of the journal."""
        return self.state / "ctos.db"

    @property
    def logs(self) -> Path:
        """Return the folder of logs and reports."""
        return self.state / "logs"

    def strategies(self, folder: str = "strategies") -> Path:
        """Return the folder of the operator's strategies; a relative one begins at the configuration."""
        return self.config / Path(folder).expanduser()

    def market(self, folder: str = "market") -> Path:
        """Return the folder of recorded market data; a relative one begins at the state."""
        return self.state / Path(folder).expanduser()


def find_paths(config: str | Path | None, environment: Mapping[str, str]) -> Paths:
    """Return the folders: `--config DIR`, else `$CTOS_HOME`, both with their state inside, else the platform's own.

    Raises:
        ConfigError: The folder named is a file.
    """
    chosen = config if config is not None else environment.get("CTOS_HOME") or None
    if chosen is not None:
        folder = Path(chosen).expanduser().absolute()
        if folder.exists() and not folder.is_dir():
            source = "--config" if config is not None else "CTOS_HOME"
            raise ConfigError(f"{source} {chosen}: is a file; name the folder that holds ctos.yaml")
        return Paths(folder, folder / "state")
    import platformdirs

    return Paths(platformdirs.user_config_path(APP), platformdirs.user_state_path(APP))

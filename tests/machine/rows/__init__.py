"""The rows, by theme, in the order in which a building meets them."""

from rows import backup, disk, install, offline, readme, reload, secrets, service, upgrade

THEMES = {
    "install": install.rows,
    "service": service.rows,
    "secrets": secrets.rows,
    "offline": offline.rows,
    "disk": disk.rows,
    "reload": reload.rows,
    "backup": backup.rows,
    "upgrade": upgrade.from_0_1,
    "versions": upgrade.between_versions,
    "full": upgrade.full_disk,
    "readme": readme.rows,
}

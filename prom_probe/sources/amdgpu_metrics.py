"""/sys/class/drm/card*/device/gpu_metrics: amdgpu's binary table (drivers/gpu/drm/amd/include/kgd_pp_interface.h).

     0            2           3           4
    +------------+-----------+-----------+-- - -
    | size (u16) | format    | content   | fields of that version, little-endian
    +------------+-----------+-----------+-- - -

Only energy_accumulator is read, which no other file has. All bits set: the model has none.
"""

import struct

from prom_probe.sources.errors import ParseError

SOURCE = "gpu_metrics"
ENERGY_UNIT_J = 2**-16  # 15.259 microjoules

# Offset of energy_accumulator by format and content revision.
_ENERGY_AT = {(1, 4): 24, (1, 5): 88, (1, 6): 16, (1, 7): 24, (1, 8): 24}
_HEADER = struct.Struct("<HBB")
_U64 = struct.Struct("<Q")
_ABSENT = (1 << 64) - 1


def parse_energy(data: bytes) -> int | None:
    """Units of ENERGY_UNIT_J since the driver was loaded; None for versions without. Raises ParseError."""
    if len(data) < _HEADER.size:
        raise ParseError(SOURCE, data)
    size, major, minor = _HEADER.unpack_from(data)
    at = _ENERGY_AT.get((major, minor))
    if at is None:
        return None
    if size > len(data) or len(data) < at + 8:
        raise ParseError(SOURCE, data)
    (energy,) = _U64.unpack_from(data, at)
    return None if energy in (_ABSENT, 0xFFFF) else int(energy)

"""The points of edwards25519, just enough to tell a sound public key from an unsound one.

Nothing here is secret, so nothing runs in constant time. Source: RFC 8032 sections 5.1, 5.1.3 and 5.1.4.
"""

from __future__ import annotations

from typing import Final, TypeAlias

Point: TypeAlias = tuple[int, int, int, int]
"""Extended homogeneous coordinates (X, Y, Z, T) with x = X/Z, y = Y/Z, x*y = T/Z."""

P: Final = 2**255 - 19
ORDER: Final = 2**252 + 27742317777372353535851937790883648493
D: Final = -121665 * pow(121666, -1, P) % P
SQRT_MINUS_ONE: Final = pow(2, (P - 1) // 4, P)
IDENTITY: Final[Point] = (0, 1, 1, 0)


def find_point(raw: bytes) -> Point | None:
    """Decode 32 bytes, None where they are not the canonical encoding of a point on the curve."""
    number = int.from_bytes(raw, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    # RFC 8032 section 5.1.3, step 1: "If the resulting value is >= p, decoding fails."
    if y >= P:
        return None
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    # Step 2 and 3: the candidate root of u/v, corrected by the root of -1 where it is one of -u/v.
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P == -u % P:
        x = x * SQRT_MINUS_ONE % P
    if v * x * x % P != u:
        return None
    # Step 4: "if x = 0, and x_0 = 1, decoding fails."
    if x == 0 and sign:
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def add(left: Point, right: Point) -> Point:
    """Add two points; complete, so it doubles as well."""
    a = (left[1] - left[0]) * (right[1] - right[0]) % P
    b = (left[1] + left[0]) * (right[1] + right[0]) % P
    c = 2 * left[3] * right[3] * D % P
    d = 2 * left[2] * right[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(scalar: int, point: Point) -> Point:
    """Multiply a point by a non-negative number."""
    result = IDENTITY
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def is_identity(point: Point) -> bool:
    """Say whether this is the neutral element."""
    return point[0] == 0 and point[1] == point[2]


def has_small_order(point: Point) -> bool:
    """Say whether the order divides the cofactor 8."""
    return is_identity(multiply(8, point))


def is_in_prime_subgroup(point: Point) -> bool:
    """Say whether the point lies in the subgroup of prime order (about 1 ms)."""
    return is_identity(multiply(ORDER, point))

//! Money without rounding on the way: policies multiply first, in integers that are large enough, and divide once.

use crate::contract::Money;

/// The quotient as money, towards zero. What the contract cannot hold becomes the most that it can.
///
/// ```
/// // 3 GB at 0.023 a month for each of them, both in the contract's units.
/// assert_eq!(tidegate_sdk::money(23_000 * 3_000_000_000, 1_000_000_000), 69_000);
/// ```
pub fn money(exact: i128, divided_by: i128) -> Money {
    let most = if exact < 0 { Money::MIN } else { Money::MAX };
    exact.checked_div(divided_by).and_then(|quotient| quotient.try_into().ok()).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::money;

    #[test]
    fn nothing_overflows_and_halves_go_towards_zero() {
        assert_eq!((money(7, 2), money(-7, 2)), (3, -3));
        assert_eq!((money(i128::MAX, 1), money(i128::MIN, 1), money(1, 0)), (i64::MAX, i64::MIN, i64::MAX));
    }
}

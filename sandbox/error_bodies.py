"""Twelve Data's errors, in its words."""

from typing import Any


class ApiError(Exception):
    """An answer that is an error: a code that follows HTTP's, and a message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def body(self) -> dict[str, Any]:
        """The envelope every error comes in."""
        return {"code": self.code, "message": self.message, "status": "error"}


def bad_parameter(name: str, value: str, hint: str) -> ApiError:
    """A parameter has a value that it can't have."""
    return ApiError(400, f"Invalid **{name}** provided: {value}. {hint}")


def no_data() -> ApiError:
    """The window holds no bars."""
    return ApiError(
        400,
        "No data is available on the specified dates. Try setting different start/end dates.",
    )


def unknown_symbol() -> ApiError:
    """The symbol is missing, or names nothing."""
    return ApiError(
        404,
        "**symbol** or **figi** parameter is missing or invalid. Please provide a valid symbol "
        "according to API documentation: https://twelvedata.com/docs#reference-data",
    )


def unknown_symbol_older(symbol: str) -> ApiError:
    """The same, as it read in earlier years."""
    return ApiError(
        400,
        f"**symbol** not found: {symbol}. Please specify it correctly according to API "
        "Documentation.",
    )


def gated_symbol() -> ApiError:
    """The plan does not include the symbol."""
    return ApiError(
        404,
        "This symbol is available starting with the Grow or Venture plan. Consider upgrading now "
        "at https://twelvedata.com/pricing",
    )


def bad_key() -> ApiError:
    """The key is missing or wrong."""
    return ApiError(
        401,
        "**apikey** parameter is incorrect or not specified. You can get your free API key "
        "instantly following this link: https://twelvedata.com/pricing. If you believe that "
        "everything is correct, you can contact us at https://twelvedata.com/contact/customer",
    )


def gated_endpoint(path: str) -> ApiError:
    """The plan does not include the endpoint."""
    return ApiError(
        403,
        f"{path} is available exclusively with grow or pro or ultra or venture or enterprise "
        "plans. Consider upgrading your API Key now at https://twelvedata.com/pricing",
    )


def too_many_symbols() -> ApiError:
    """More symbols than a call may name."""
    return ApiError(414, "Input parameter array exceeds the allowed length")


def minute_exhausted(used: int, limit: int) -> ApiError:
    """The minute's credits are spent."""
    return ApiError(
        429,
        f"You have run out of API credits for the current minute. {used} API credits were used, "
        f"with the current limit being {limit}. Wait for the next minute or consider switching to "
        "a higher tier plan at https://twelvedata.com/pricing",
    )


def day_exhausted(used: int, limit: int) -> ApiError:
    """The day's credits are spent."""
    return ApiError(
        429,
        f"You have run out of API credits for the day. {used} API credits were used, with the "
        f"current limit being {limit}. Wait for the next day or consider switching to a higher "
        "tier plan at https://twelvedata.com/pricing",
    )


def server_error() -> ApiError:
    """Something broke at the provider."""
    return ApiError(500, "Internal server error. Please try again later.")

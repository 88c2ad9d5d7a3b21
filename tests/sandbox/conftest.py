"""The sandbox that the tests of the market data use too."""

from tests.market_data.conftest import sandbox, sandbox_url

__all__ = ["sandbox", "sandbox_url"]

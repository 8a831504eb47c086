"""The domain as plain data: it uses the standard library only; all other packages import it, and it imports none of them."""

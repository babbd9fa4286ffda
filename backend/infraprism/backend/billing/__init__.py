"""Payment by Stripe, off unless it is configured. Only the id of the customer is stored."""

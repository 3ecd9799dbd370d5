"""What two or more modalities share; it names none of them."""

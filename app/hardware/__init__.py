"""What is known of hardware beyond what a machine says itself: device tables and the speed model's constants."""

"""Your models. After a change: `manage.py makemigrations app`, then `manage.py migrate`."""

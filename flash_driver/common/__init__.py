"""What every room uses: deadlines, logging, tasks, exact JSON. Imports nothing of the driver."""

"""The front door: it assembles the rooms, talks to the person and turns results into exits."""

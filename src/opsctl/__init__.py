"""Runbooks for Supabase, Prisma, Vercel and GitHub, carried out and checked."""

__version__ = "0.1.0"

"""What do browsers download, is it too much, and what made it so?"""

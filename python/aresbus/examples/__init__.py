"""Complete programs to run, read and begin from: ``aresbus example`` lists them, ``aresbus example NAME`` runs one.

Each file is a script that takes the folder of its log, imports aresbus as any program of a user would, and runs again over
the log that an earlier run left. Owns nothing that another module needs: nothing imports an example.
"""

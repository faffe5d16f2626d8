return { tea = 12 }
